rule partition_level:
    input:
        markers=upstream("partition.level{level}"),
    output:
        marker=f"{WORK}/{{sample}}/status/partition/{{time}}/level{{level}}-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/partition/{{time}}/level{{level}}-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/partition/{{time}}/level{{level}}-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("partition.level{level}"),
        runtime=runtime("partition.level{level}"),
    params:
        step=lambda wildcards: named("partition.level{level}", wildcards),
        parameters=parameters("partition.level{level}"),
        where=where,
    shell:
        RUN_BATCH


rule partition:
    input:
        markers=upstream("partition.root"),
    output:
        marker=f"{WORK}/{{sample}}/status/partition/{{time}}/root.json",
    log:
        f"{WORK}/{{sample}}/logs/partition/{{time}}/root.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/partition/{{time}}/root.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("partition.root"),
        runtime=runtime("partition.root"),
    params:
        step="partition.root",
        parameters=parameters("partition.root"),
        where=where,
    shell:
        RUN_TIME
