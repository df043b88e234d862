rule report:
    input:
        markers=upstream("report.page"),
    output:
        marker=f"{WORK}/{{sample}}/status/report/all/page.json",
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
        batches=batches,
    shell:
        RUN
