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
    threads: 1
    resources:
        mem_mb=memory("partition.root"),
        runtime=runtime("partition.root"),
    params:
        step="partition.root",
        parameters=parameters("partition.root"),
        where=where,
    shell:
        RUN_TIME
