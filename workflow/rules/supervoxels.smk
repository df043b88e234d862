rule supervoxels_histogram:
    input:
        markers=upstream("supervoxels.histogram"),
    output:
        marker=f"{WORK}/{{sample}}/status/supervoxels/{{time}}/histogram-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/supervoxels/{{time}}/histogram-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/supervoxels/{{time}}/histogram-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("supervoxels.histogram"),
        runtime=runtime("supervoxels.histogram"),
    params:
        step="supervoxels.histogram",
        parameters=parameters("supervoxels.histogram"),
    shell:
        RUN_BATCH


rule supervoxels_threshold:
    input:
        markers=upstream("supervoxels.threshold"),
    output:
        marker=f"{WORK}/{{sample}}/status/supervoxels/{{time}}/threshold.json",
    log:
        f"{WORK}/{{sample}}/logs/supervoxels/{{time}}/threshold.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/supervoxels/{{time}}/threshold.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("supervoxels.threshold"),
        runtime=runtime("supervoxels.threshold"),
    params:
        step="supervoxels.threshold",
        parameters=parameters("supervoxels.threshold"),
    shell:
        RUN_TIME


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
