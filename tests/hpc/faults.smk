# Jobs that a test can hold, hurt and look at. Each writes half of its result, waits, then writes all of it.
#   held/{name}      the job waits while this file is there
#   starts/{name}    one line per start: attempt and node
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(workflow.basedir).parents[1])
)  # the package, in the job's process too

from rho2prop.core.jobs.slurm import growing, refuse_while_jobs_run

NAMES = config["names"].split(",")


onstart:
    refuse_while_jobs_run(Path.cwd())


rule all:
    input:
        "results/joined.txt",


rule work:
    output:
        "results/{name}.txt",
    resources:
        mem_mb=growing(700),
        runtime=growing(1),
        attempt=lambda wildcards, attempt: attempt,
    shell:
        """
        echo "{resources.attempt} $SLURMD_NODENAME" >>starts/{wildcards.name}
        printf half >{output}
        case {wildcards.name}-{resources.attempt} in
            slow-1) sleep 600 ;;
            big-1) exec python3 -c 'import time; block = bytearray(b"1") * 900_000_000; time.sleep(600)' ;;
        esac
        while [ -e held/{wildcards.name} ]; do sleep 0.2; done
        printf '%s whole\\n' {wildcards.name} >{output}
        """


rule join:
    input:
        expand("results/{name}.txt", name=NAMES),
    output:
        "results/joined.txt",
    resources:
        mem_mb=growing(700),
        runtime=growing(5),
    shell:
        "cat {input} > {output}"
