rule partition_lifted:
    input:
        markers=upstream("partition.lifted"),
    output:
        marker=f"{WORK}/{{sample}}/status/partition/{{time}}/lifted-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/partition/{{time}}/lifted-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/partition/{{time}}/lifted-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("partition.lifted"),
        runtime=runtime("partition.lifted"),
    params:
        step="partition.lifted",
        parameters=parameters("partition.lifted"),
    shell:
        RUN_BATCH


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
    shell:
        RUN_TIME


rule partition_energy:
    input:
        markers=upstream("partition.energy"),
    output:
        marker=f"{WORK}/{{sample}}/status/partition/{{time}}/energy-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/partition/{{time}}/energy-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/partition/{{time}}/energy-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("partition.energy"),
        runtime=runtime("partition.energy"),
    params:
        step="partition.energy",
        parameters=parameters("partition.energy"),
        places=places("partition.energy"),
    shell:
        RUN_BATCH + PLACES


rule partition_quality:
    input:
        markers=upstream("partition.quality"),
    output:
        marker=f"{WORK}/{{sample}}/status/partition/{{time}}/quality.json",
    log:
        f"{WORK}/{{sample}}/logs/partition/{{time}}/quality.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/partition/{{time}}/quality.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("partition.quality"),
        runtime=runtime("partition.quality"),
    params:
        step="partition.quality",
        parameters=parameters("partition.quality"),
    shell:
        RUN_TIME
