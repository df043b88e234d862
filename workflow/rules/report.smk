# The marker is what counts; the other files are declared so that `snakemake --report` shows them. Snakemake removes them
# before the job, and the step then finds them missing and writes them again even where its key is known.
rule report:
    input:
        markers=upstream("report.page"),
    output:
        marker=f"{WORK}/{{sample}}/status/report/all/page.json",
        overview=report(
            f"{JOBS.config.results}/{{sample}}/overview.png",
            caption="../report/overview.rst",
            category="{sample}",
            labels={"content": "Overview"},
        ),
        sizes=report(
            f"{JOBS.config.results}/{{sample}}/sizes.png",
            caption="../report/sizes.rst",
            category="{sample}",
            labels={"content": "Sizes"},
        ),
        page=report(
            f"{JOBS.config.results}/{{sample}}/report.html",
            caption="../report/page.rst",
            category="{sample}",
            labels={"content": "Full report"},
        ),
    log:
        f"{WORK}/{{sample}}/logs/report/all/page.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/report/all/page.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("report.page"),
        runtime=runtime("report.page"),
    params:
        step="report.page",
        parameters=parameters("report.page"),
    shell:
        RUN


rule report_provenance:
    input:
        markers=upstream("report.provenance"),
    output:
        marker=f"{WORK}/{{sample}}/status/report/all/provenance.json",
        provenance=f"{JOBS.config.results}/{{sample}}/provenance.json",
    log:
        f"{WORK}/{{sample}}/logs/report/all/provenance.log",
    benchmark:
        f"{WORK}/{{sample}}/benchmarks/report/all/provenance.tsv"
    conda:
        "../../envs/bigseg.yaml"
    threads: 1
    resources:
        mem_mb=memory("report.provenance"),
        runtime=runtime("report.provenance"),
    params:
        step="report.provenance",
        parameters=parameters("report.provenance"),
        places=places("report.provenance"),
    shell:
        RUN + PLACES
