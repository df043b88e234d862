rule measure:
    input:
        markers=upstream("measure.blocks"),
    output:
        marker=f"{WORK}/{{sample}}/status/measure/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/measure/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/measure/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("measure.blocks"),
        runtime=runtime("measure.blocks"),
    params:
        step="measure.blocks",
        parameters=parameters("measure.blocks"),
    shell:
        RUN_BATCH


rule measure_table:
    input:
        markers=upstream("measure.table"),
    output:
        marker=f"{WORK}/{{sample}}/status/measure/all/table.json",
        table=f"{JOBS.config.results}/{{sample}}/objects.parquet",
    log:
        f"{WORK}/{{sample}}/logs/measure/all/table.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/measure/all/table.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("measure.table"),
        runtime=runtime("measure.table"),
    params:
        step="measure.table",
        parameters=parameters("measure.table"),
    shell:
        RUN
