rule predict:
    input:
        mask=files("mask"),
        markers=upstream("predict.blocks"),
    output:
        marker=f"{WORK}/{{sample}}/status/predict/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/predict/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/predict/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("predict.blocks"),
        runtime=runtime("predict.blocks"),
        gpu=JOBS.gpus(),
    params:
        step="predict.blocks",
        parameters=parameters("predict.blocks"),
        places=places("predict.blocks"),
    shell:
        RUN_BATCH + PLACES + " $BIGSEG_MACHINE"
