rule supervoxels:
    input:
        files=files("mask"),
        markers=upstream("supervoxels.blocks"),
    output:
        marker=f"{WORK}/{{sample}}/status/supervoxels/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/supervoxels/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/supervoxels/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("supervoxels.blocks"),
        runtime=runtime("supervoxels.blocks"),
    params:
        step="supervoxels.blocks",
        parameters=parameters("supervoxels.blocks"),
    shell:
        RUN_BATCH
