# Independent jobs without any work, for slurm_overhead.sh.
rule all:
    input:
        expand("done/{number}", number=range(int(config["jobs"]))),


rule nothing:
    output:
        touch("done/{number}"),
    resources:
        mem_mb=10,
        runtime=1,
    shell:
        "true"
