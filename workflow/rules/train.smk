# A training of its own: nothing else depends on it, because a run looks at its model when it is planned.
# The checkpoints beside the declared file are no outputs: Snakemake would delete them when a job fails.
if TRAINING is not None:

    rule train:
        input:
            config=TRAINING,
        output:
            outcome=f"{model_folder(TRAINING)}/training/outcome.json",
        log:
            f"{WORK}/logs/train.log",
        conda:
            "../../envs/bigseg.yaml"
        threads: workflow.cores or 1
        resources:
            mem_mb=lambda wildcards, attempt: training_memory_mb(attempt),
            runtime=training_minutes(),
            gpu=JOBS.training_gpus(),
        shell:
            "exec bigseg train --config {input.config:q} --device $BIGSEG_DEVICE --threads {threads} --log {log:q}"
