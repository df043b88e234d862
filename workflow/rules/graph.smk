rule graph:
    input:
        markers=upstream("graph.blocks"),
    output:
        marker=f"{WORK}/{{sample}}/status/graph/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/graph/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/graph/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("graph.blocks"),
        runtime=runtime("graph.blocks"),
    params:
        step="graph.blocks",
        parameters=parameters("graph.blocks"),
        where=where,
    shell:
        RUN_BATCH
