rule seams:
    input:
        files=files("truth"),
        markers=upstream("seams.blocks"),
    output:
        marker=f"{WORK}/{{sample}}/status/seams/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/seams/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/seams/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("seams.blocks"),
        runtime=runtime("seams.blocks"),
    params:
        step="seams.blocks",
        parameters=parameters("seams.blocks"),
    shell:
        RUN_BATCH


rule seams_summary:
    input:
        markers=upstream("seams.summary"),
    output:
        marker=f"{WORK}/{{sample}}/status/seams/all/summary.json",
        figures=f"{JOBS.config.results}/{{sample}}/seams.json",
    log:
        f"{WORK}/{{sample}}/logs/seams/all/summary.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/seams/all/summary.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("seams.summary"),
        runtime=runtime("seams.summary"),
    params:
        step="seams.summary",
        parameters=parameters("seams.summary"),
    shell:
        RUN
