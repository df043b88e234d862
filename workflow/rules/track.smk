# What `windows` and `junctions` are cut into are runs of time points.
rule track_drift:
    input:
        markers=upstream("track.drift"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/{{time}}/drift.json",
    log:
        f"{WORK}/{{sample}}/logs/track/{{time}}/drift.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/{{time}}/drift.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("track.drift"),
        runtime=runtime("track.drift"),
    params:
        step="track.drift",
        parameters=parameters("track.drift"),
        places=places("track.drift"),
    shell:
        RUN_TIME + PLACES


rule track_overlaps:
    input:
        markers=upstream("track.overlaps"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/{{time}}/overlaps-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/track/{{time}}/overlaps-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/{{time}}/overlaps-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("track.overlaps"),
        runtime=runtime("track.overlaps"),
    params:
        step="track.overlaps",
        parameters=parameters("track.overlaps"),
        places=places("track.overlaps"),
    shell:
        RUN_BATCH + PLACES


rule track_contacts:
    input:
        markers=upstream("track.contacts"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/{{time}}/contacts-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/track/{{time}}/contacts-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/{{time}}/contacts-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("track.contacts"),
        runtime=runtime("track.contacts"),
    params:
        step="track.contacts",
        parameters=parameters("track.contacts"),
        places=places("track.contacts"),
    shell:
        RUN_BATCH + PLACES


rule track_detections:
    input:
        markers=upstream("track.detections"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/{{time}}/detections.json",
    log:
        f"{WORK}/{{sample}}/logs/track/{{time}}/detections.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/{{time}}/detections.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("track.detections"),
        runtime=runtime("track.detections"),
    params:
        step="track.detections",
        parameters=parameters("track.detections"),
    shell:
        RUN_TIME


rule track_links:
    input:
        markers=upstream("track.links"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/{{time}}/links.json",
    log:
        f"{WORK}/{{sample}}/logs/track/{{time}}/links.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/{{time}}/links.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("track.links"),
        runtime=runtime("track.links"),
    params:
        step="track.links",
        parameters=parameters("track.links"),
        places=places("track.links"),
    shell:
        RUN_TIME + PLACES


rule track_windows:
    input:
        markers=upstream("track.windows"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/all/windows-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/track/all/windows-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/all/windows-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("track.windows"),
        runtime=runtime("track.windows"),
    params:
        step="track.windows",
        parameters=parameters("track.windows"),
        places=places("track.windows"),
    shell:
        RUN_WINDOWS + PLACES


rule track_junctions:
    input:
        markers=upstream("track.junctions"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/all/junctions-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/track/all/junctions-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/all/junctions-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("track.junctions"),
        runtime=runtime("track.junctions"),
    params:
        step="track.junctions",
        parameters=parameters("track.junctions"),
        places=places("track.junctions"),
    shell:
        RUN_WINDOWS + PLACES


rule track_lineages:
    input:
        markers=upstream("track.lineages"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/{{time}}/lineages.json",
    log:
        f"{WORK}/{{sample}}/logs/track/{{time}}/lineages.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/{{time}}/lineages.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("track.lineages"),
        runtime=runtime("track.lineages"),
    params:
        step="track.lineages",
        parameters=parameters("track.lineages"),
        places=places("track.lineages"),
    shell:
        RUN_TIME + PLACES


rule track_table:
    input:
        markers=upstream("track.table"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/all/table.json",
        tracks=f"{JOBS.config.results}/{{sample}}/tracks.parquet",
    log:
        f"{WORK}/{{sample}}/logs/track/all/table.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/all/table.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("track.table"),
        runtime=runtime("track.table"),
    params:
        step="track.table",
        parameters=parameters("track.table"),
    shell:
        RUN


rule track_exports:
    input:
        markers=upstream("track.exports"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/all/exports.json",
        napari=f"{JOBS.config.results}/{{sample}}/tracks.csv",
        graph=f"{JOBS.config.results}/{{sample}}/tracks.graph.json",
        lineage=f"{JOBS.config.results}/{{sample}}/res_track.txt",
    log:
        f"{WORK}/{{sample}}/logs/track/all/exports.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/all/exports.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("track.exports"),
        runtime=runtime("track.exports"),
    params:
        step="track.exports",
        parameters=parameters("track.exports"),
    shell:
        RUN


rule track:
    input:
        markers=upstream("track.blocks"),
    output:
        marker=f"{WORK}/{{sample}}/status/track/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/track/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/track/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("track.blocks"),
        runtime=runtime("track.blocks"),
    params:
        step="track.blocks",
        parameters=parameters("track.blocks"),
        places=places("track.blocks"),
    shell:
        RUN_BATCH + PLACES
