rule segment_contacts:
    input:
        markers=upstream("segment.contacts"),
    output:
        marker=f"{WORK}/{{sample}}/status/segment/{{time}}/contacts-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/segment/{{time}}/contacts-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/segment/{{time}}/contacts-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("segment.contacts"),
        runtime=runtime("segment.contacts"),
    params:
        step="segment.contacts",
        parameters=parameters("segment.contacts"),
        places=places("segment.contacts"),
    shell:
        RUN_BATCH + PLACES


rule segment_objects:
    input:
        markers=upstream("segment.objects"),
    output:
        marker=f"{WORK}/{{sample}}/status/segment/{{time}}/objects.json",
    log:
        f"{WORK}/{{sample}}/logs/segment/{{time}}/objects.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/segment/{{time}}/objects.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("segment.objects"),
        runtime=runtime("segment.objects"),
    params:
        step="segment.objects",
        parameters=parameters("segment.objects"),
    shell:
        RUN_TIME


rule segment:
    input:
        files=files("segmentation"),
        markers=upstream("segment.blocks"),
    output:
        marker=f"{WORK}/{{sample}}/status/segment/{{time}}/blocks-{{blocks}}.json",
    log:
        f"{WORK}/{{sample}}/logs/segment/{{time}}/blocks-{{blocks}}.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/segment/{{time}}/blocks-{{blocks}}.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: JOBS.config.execution.threads
    resources:
        mem_mb=memory("segment.blocks"),
        runtime=runtime("segment.blocks"),
    params:
        step="segment.blocks",
        parameters=parameters("segment.blocks"),
        places=places("segment.blocks"),
    shell:
        RUN_BATCH + PLACES
