"""From a configuration to steps, jobs and their inputs; cheap, because Snakemake does it for every job."""
