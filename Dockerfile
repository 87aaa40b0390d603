# CPU by default; for CUDA wheels: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /opt/autotune
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY autotune autotune
COPY objectives objectives
# One pip command, so that the build of torch taken from TORCH_INDEX is not replaced by another one.
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c constraints.txt torch '.[dask,postgres,service]' \
    && useradd --create-home autotune \
    && install -d -o autotune /work
COPY studies /opt/autotune/studies

USER autotune
WORKDIR /work
ENTRYPOINT ["autotune"]
CMD ["--help"]
