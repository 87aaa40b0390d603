% A template: autotune fills in what stands in double braces and runs the file for every trial (docs/command.md).
% It calls fold_slice's function for experimental data as its own scripts for Bayesian optimisation do; check the names of
% the fields against your version.
try
    addpath(genpath('{{fold_slice}}'));
    par = struct();
    par.base_path = '{{data}}/';
    par.output_dir_base = '{{folder}}/';
    par.Niter = {{iterations}};
    data_error = ptycho_recon_exp_data(par, ...
        'defocus', {{defocus}}, 'rot_ang', {{rotation}}, 'thickness', {{thickness}}, 'Nlayers', {{layers}});
    result = fopen('{{folder}}/result.json', 'w');
    fprintf(result, '{"data_error": %.12g}', data_error);
    fclose(result);
catch problem
    fprintf(2, '%s\n', getReport(problem, 'extended', 'hyperlinks', 'off'));
    exit(1);
end
exit(0);
