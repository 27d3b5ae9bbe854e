#!/usr/bin/env bash
# slurm-down.sh - stop what slurm-up.sh started: only pids recorded in run/pid, and
# only if /proc/<pid>/comm is still the recorded program.
#   tests/hpc/slurm-down.sh          stop, keep database/logs/queue state
#   tests/hpc/slurm-down.sh --purge  stop and delete the whole state directory
set -uo pipefail
R=${SLURM_SANDBOX:-${TMPDIR:-/tmp}/rho2prop-slurm}
[ -d "$R/pid" ] || { echo "nothing to stop in $R"; exit 0; }
export SLURM_CONF=$R/etc/slurm.conf
alive() { local p; p=$(cat "$R/pid/$1" 2>/dev/null) && [ "$(cat "/proc/$p/comm" 2>/dev/null)" = "${1%%-*}" ]; }

# slurmstepd processes outlive slurmd, so cancel jobs first and let them drain
slurmds=$(cd "$R/pid" && ls -d slurmd-* 2>/dev/null)
if alive slurmctld && [ -n "$slurmds" ]; then
    ids=$(timeout 10 squeue -h -o %A -t PD,R,S,CF,CG,SO | sort -u)
    [ -n "$ids" ] && timeout 20 scancel $ids
    for _ in $(seq 60); do
        [ -z "$(timeout 10 squeue -h -t PD,R,S,CF,CG,SO)" ] && break; sleep 0.5
    done
fi
for d in $slurmds slurmctld slurmdbd mariadbd munged; do
    if alive "$d"; then
        p=$(cat "$R/pid/$d"); kill -TERM "$p"
        for _ in $(seq 100); do alive "$d" || break; sleep 0.2; done
        if alive "$d"; then echo "$d ($p) ignored SIGTERM for 20 s, SIGKILL"; kill -KILL "$p"; fi
        echo "stopped $d ($p)"
    fi
    rm -f "$R/pid/$d"
done
# symlinks left by SLURM_CONF_MODE=etc, only if they point into our directory
for f in slurm.conf gres.conf cgroup.conf; do
    [ "$(readlink "/etc/slurm/$f" 2>/dev/null)" = "$R/etc/$f" ] && rm -f "/etc/slurm/$f"
done
if [ "${1:-}" = --purge ]; then rm -rf "$R"; echo "removed $R"; fi
exit 0
