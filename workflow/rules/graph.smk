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
    shell:
        RUN_BATCH


rule graph_evidence:
    input:
        nuclei=files("nuclei"),
        semantic=files("semantic"),
        affinities=files("affinities"),
        markers=upstream("graph.evidence"),
    output:
        marker=f"{WORK}/{{sample}}/status/graph/{{time}}/evidence-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/graph/{{time}}/evidence-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/graph/{{time}}/evidence-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("graph.evidence"),
        runtime=runtime("graph.evidence"),
    params:
        step="graph.evidence",
        parameters=parameters("graph.evidence"),
    shell:
        RUN_BATCH
