rule pyramid:
    input:
        markers=upstream("pyramid.{kind}{level}"),
    output:
        marker=f"{WORK}/{{sample}}/status/pyramid/{{time}}/{{kind}}{{level}}-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/pyramid/{{time}}/{{kind}}{{level}}-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/pyramid/{{time}}/{{kind}}{{level}}-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("pyramid.{kind}{level}"),
        runtime=runtime("pyramid.{kind}{level}"),
    params:
        step=lambda wildcards: named("pyramid.{kind}{level}", wildcards),
        parameters=parameters("pyramid.{kind}{level}"),
    shell:
        RUN_BATCH


rule pyramid_metadata:
    input:
        markers=upstream("pyramid.metadata"),
    output:
        marker=f"{WORK}/{{sample}}/status/pyramid/all/metadata.json",
    log:
        f"{WORK}/{{sample}}/logs/pyramid/all/metadata.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/pyramid/all/metadata.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("pyramid.metadata"),
        runtime=runtime("pyramid.metadata"),
    params:
        step="pyramid.metadata",
        parameters=parameters("pyramid.metadata"),
    shell:
        RUN
