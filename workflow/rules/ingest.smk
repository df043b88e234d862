rule ingest:
    input:
        files=files("input"),
    output:
        marker=f"{WORK}/{{sample}}/status/ingest/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/ingest/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/ingest/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("ingest.blocks"),
        runtime=runtime("ingest.blocks"),
    params:
        step="ingest.blocks",
        parameters=parameters("ingest.blocks"),
    shell:
        RUN_BATCH


rule ingest_statistics:
    input:
        markers=upstream("ingest.statistics"),
    output:
        marker=f"{WORK}/{{sample}}/status/ingest/{{time}}/statistics.json",
    log:
        f"{WORK}/{{sample}}/logs/ingest/{{time}}/statistics.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/ingest/{{time}}/statistics.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("ingest.statistics"),
        runtime=runtime("ingest.statistics"),
    params:
        step="ingest.statistics",
        parameters=parameters("ingest.statistics"),
    shell:
        RUN_TIME
