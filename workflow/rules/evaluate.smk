rule evaluate:
    input:
        files=files("truth"),
        markers=upstream("evaluate.blocks"),
    output:
        marker=f"{WORK}/{{sample}}/status/evaluate/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/evaluate/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/evaluate/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("evaluate.blocks"),
        runtime=runtime("evaluate.blocks"),
    params:
        step="evaluate.blocks",
        parameters=parameters("evaluate.blocks"),
    shell:
        RUN_BATCH


rule evaluate_scores:
    input:
        markers=upstream("evaluate.scores"),
    output:
        marker=f"{WORK}/{{sample}}/status/evaluate/all/scores.json",
        scores=f"{JOBS.config.results}/{{sample}}/scores.json",
    log:
        f"{WORK}/{{sample}}/logs/evaluate/all/scores.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/evaluate/all/scores.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate.scores"),
        runtime=runtime("evaluate.scores"),
    params:
        step="evaluate.scores",
        parameters=parameters("evaluate.scores"),
    shell:
        RUN


rule evaluate_track_overlaps:
    input:
        files=files("truth"),
        markers=upstream("evaluate.track_overlaps"),
    output:
        marker=f"{WORK}/{{sample}}/status/evaluate/{{time}}/track_overlaps-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/evaluate/{{time}}/track_overlaps-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/evaluate/{{time}}/track_overlaps-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("evaluate.track_overlaps"),
        runtime=runtime("evaluate.track_overlaps"),
    params:
        step="evaluate.track_overlaps",
        parameters=parameters("evaluate.track_overlaps"),
        places=places("evaluate.track_overlaps"),
    shell:
        RUN_BATCH + PLACES


rule evaluate_tracks:
    input:
        markers=upstream("evaluate.tracks"),
    output:
        marker=f"{WORK}/{{sample}}/status/evaluate/all/tracks.json",
        scores=f"{JOBS.config.results}/{{sample}}/tracking_scores.json",
    log:
        f"{WORK}/{{sample}}/logs/evaluate/all/tracks.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/evaluate/all/tracks.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate.tracks"),
        runtime=runtime("evaluate.tracks"),
    params:
        step="evaluate.tracks",
        parameters=parameters("evaluate.tracks"),
        places=places("evaluate.tracks"),
    shell:
        RUN + PLACES
