#!/usr/bin/env bash
# slurm-up.sh - bring up a real Slurm 22.05 cluster of one machine (one or several nodes) on
#               a bare Debian 12 machine/container, as root, without systemd, without cgroups.
#
#   tests/hpc/slurm-up.sh         # start (idempotent: running daemons are left alone)
#   source <printed env.sh>       # puts SLURM_CONF into the environment
#   tests/hpc/slurm-down.sh       # stop exactly what this script started
#
# Everything (keys, sockets, configs, spool, logs, database, pid files) lives in one
# private state directory, nothing in /etc, /run or /var is written (apart from what
# apt installs, and three symlinks in /etc/slurm with SLURM_CONF_MODE=etc), so a
# packaged munge/mariadb that happens to run is not disturbed.
#
# Knobs (environment):
#   SLURM_SANDBOX   state directory                      [$TMPDIR/rho2prop-slurm]
#   SLURM_ACCT      none = no accounting (the plugin must be run with   [none]
#                          slurm-status-command: squeue)
#                   dbd  = MariaDB + slurmdbd (sacct, efficiency report)
#   SLURM_NODES     nodes; Debian's slurmd is built with multiple-slurmd   [1]
#   SLURM_CPUS      CPUs each node offers                [nproc]
#                   may exceed nproc (config_overrides is on), handy for tests
#   SLURM_MEM_MB    memory each node offers              [90 % of MemTotal]
#   SLURM_GPUS      number of fake GPUs (gres/gpu) a node [2]
#   SLURM_PORT      base port: ctld=+0 dbd=+1 slurmd=+2, +3, ...   [16817]
#   SLURM_CONF_MODE auto|ns|etc, how jobs find slurm.conf (see step 4)    [auto]
#   SLURM_NO_APT=1  never call apt-get
set -euo pipefail

R=${SLURM_SANDBOX:-${TMPDIR:-/tmp}/rho2prop-slurm}
ACCT=${SLURM_ACCT:-none}
NODES=${SLURM_NODES:-1}
CPUS=${SLURM_CPUS:-$(nproc)}
MEM=${SLURM_MEM_MB:-$(awk '/^MemTotal/{print int($2/1024*0.9)}' /proc/meminfo)}
GPUS=${SLURM_GPUS:-2}
PORT=${SLURM_PORT:-16817}
CONF_MODE=${SLURM_CONF_MODE:-auto}
HOST=$(hostname -s)
names=(); for i in $(seq "$NODES"); do names+=("node$i"); done
T0=$(date +%s.%N)
log()  { printf '[slurm-up %5.1fs] %s\n' "$(echo "$(date +%s.%N) $T0" | awk '{print $1-$2}')" "$*"; }
die()  { log "ERROR: $*"; exit 1; }
[ "$(id -u)" = 0 ] || die "must be root (slurmd has to be able to start jobs as the submitting user)"
case $ACCT in dbd|none) ;; *) die "SLURM_ACCT must be dbd or none";; esac

# ---------------------------------------------------------------- 0. packages
need=()
for p in munge slurmctld slurmd slurm-client; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || need+=("$p")
done
if [ "$ACCT" = dbd ]; then
    for p in slurmdbd mariadb-server; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || need+=("$p")
    done
fi
if [ ${#need[@]} -gt 0 ]; then
    [ "${SLURM_NO_APT:-0}" = 1 ] && die "missing packages: ${need[*]}"
    log "apt-get install ${need[*]}"
    mkdir -p "$R/log"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y --no-install-recommends "${need[@]}"; } \
        >"$R/log/apt.log" 2>&1 || { tail -20 "$R/log/apt.log"; die "apt-get failed"; }
fi

# ---------------------------------------------------------------- helpers
mkdir -p "$R"/{etc,pid,log,state,munge} "${names[@]/#/$R/spool/}"
chmod 755 "$R" "$R/munge"; chmod 700 "$R/state"

# alive NAME -> true if the pid we recorded still runs AND is the same program
# (comm is compared so that a recycled pid is never mistaken for ours; NAME is the
# program, or the program, a dash and the node)
alive() {
    local f=$R/pid/$1 pid
    [ -s "$f" ] || return 1
    pid=$(cat "$f")
    [ -r "/proc/$pid/comm" ] && [ "$(cat "/proc/$pid/comm")" = "${1%%-*}" ]
}
# launch NAME CMD... -> start in its own session, in the foreground of that session,
# so that $! is the daemon's own pid
launch() {
    local name=$1; shift
    if alive "$name"; then log "$name already running (pid $(cat "$R/pid/$name"))"; return; fi
    setsid "$@" </dev/null >>"$R/log/$name.out" 2>&1 &
    echo $! >"$R/pid/$name"
}
# waitfor SECONDS DESCRIPTION CMD...
waitfor() {
    local end=$(( $(date +%s) + $1 )) what=$2; shift 2
    while ! timeout 10 "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt $end ] || die "timed out waiting for $what (see $R/log)"
        sleep 0.2
    done
    log "$what is up"
}

# ---------------------------------------------------------------- 1. munge
[ -s "$R/munge/munge.key" ] || { mungekey -c -k "$R/munge/munge.key"; chmod 400 "$R/munge/munge.key"; }
# --force: only warn (not die) if a parent directory is group-writable, as CI
# workspaces often are
launch munged munged -F --force --num-threads=2 \
    --key-file="$R/munge/munge.key"  --socket="$R/munge/munge.socket" \
    --pid-file="$R/munge/munged.pid" --log-file="$R/log/munged.log" \
    --seed-file="$R/munge/munged.seed"
waitfor 15 munged munge -n -S "$R/munge/munge.socket"

# ---------------------------------------------------------------- 2. accounting
if [ "$ACCT" = dbd ]; then
    DB=$R/mysql; SOCK=$R/mysql.sock
    if [ ! -d "$DB/mysql" ]; then
        log "creating the MariaDB data directory"
        mariadb-install-db --no-defaults --user=root --datadir="$DB" \
            --auth-root-authentication-method=socket --skip-test-db >"$R/log/mariadb-install.log" 2>&1
    fi
    # unix socket only (no TCP); root authenticates through the socket; sizes are
    # what slurmdbd asks for at minimum (it only warns otherwise)
    launch mariadbd mariadbd --no-defaults --user=root --datadir="$DB" --socket="$SOCK" \
        --skip-networking --pid-file="$R/mysql.pid" \
        --innodb-buffer-pool-size=128M --innodb-log-file-size=64M \
        --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2
    waitfor 30 mariadbd mariadb-admin --no-defaults --socket="$SOCK" ping
    mariadb --no-defaults --socket="$SOCK" -e \
        "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
         CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';
         GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';"
    ( umask 077; cat >"$R/etc/slurmdbd.conf" <<EOC
AuthType=auth/munge
AuthInfo=socket=$R/munge/munge.socket
DbdHost=localhost
DbdPort=$((PORT+1))
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile=$R/log/slurmdbd.log
PidFile=$R/slurmdbd.pid
EOC
    )
    chmod 600 "$R/etc/slurmdbd.conf"          # slurmdbd refuses anything wider
    # slurmdbd finds its file next to SLURM_CONF; libmariadb finds the private socket
    # through MYSQL_UNIX_PORT
    launch slurmdbd env SLURM_CONF="$R/etc/slurm.conf" MYSQL_UNIX_PORT="$SOCK" slurmdbd -D
    ACCT_LINES="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((PORT+1))
# munge socket for connections to slurmdbd; AuthInfo is not used for those
AccountingStoragePass=$R/munge/munge.socket
AccountingStorageTRES=gres/gpu
# keeps the rule name (sbatch --comment) for sacct / --slurm-efficiency-report
AccountingStoreFlags=job_comment"
else
    ACCT_LINES="AccountingStorageType=accounting_storage/none"
fi

# ---------------------------------------------------------------- 3. slurm.conf, gres.conf
GRES_NODE=""; : >"$R/etc/gres.conf"
if [ "$GPUS" -gt 0 ]; then
    # gres/gpu needs a File= (a gres.conf line with Count= but no File= is silently
    # dropped by 22.05 and the node ends up INVAL: "count reported lower than
    # configured"), and File= must be a device node. So make private clones of
    # /dev/null (char 1:3); nothing ever opens them. Trailing digits = GPU index.
    mkdir -p "$R/dev"
    for i in $(seq 0 $((GPUS-1))); do [ -c "$R/dev/gpu$i" ] || mknod "$R/dev/gpu$i" c 1 3; done
    GRES_NODE="Gres=gpu:fake:$GPUS"
    printf "NodeName=%s Name=gpu Type=fake File=$R/dev/gpu[0-$((GPUS-1))]\n" "${names[@]}" >"$R/etc/gres.conf"
fi
# slurmd 22.05 initialises a cgroup plugin even when nothing uses cgroups, and its
# autodetection fails where /sys/fs/cgroup is missing (chroot) or is v2 without a
# systemd to talk to (most containers). The v1 plugin does nothing until asked.
echo "CgroupPlugin=cgroup/v1" >"$R/etc/cgroup.conf"
cat >"$R/etc/slurm.conf" <<EOC
# written by slurm-up.sh
ClusterName=sandbox
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$R/munge/munge.socket
CredType=cred/munge
StateSaveLocation=$R/state
SlurmdSpoolDir=$R/spool/%n
SlurmctldPidFile=$R/slurmctld.pid
SlurmdPidFile=$R/slurmd-%n.pid
SlurmctldLogFile=$R/log/slurmctld.log
SlurmdLogFile=$R/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
MpiDefault=none
# --- no cgroups: processes are found through /proc, memory is sampled and enforced
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
# --- scheduling
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=3,sched_interval=3,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
# a node comes back by itself after an outage, not after an administrator set it down
ReturnToService=1
# reject impossible requests at sbatch time; by default they stay PENDING for ever
EnforcePartLimits=ALL
KillWait=5
# finished jobs stay visible in squeue --states=all this long; the Snakemake plugin's
# squeue mode needs >= 3 x slurm-init-seconds-before-status-checks and > 180 s
MinJobAge=3600
MaxJobCount=20000
$ACCT_LINES
# --- node and partitions
GresTypes=gpu
SlurmdParameters=config_overrides
$(for i in "${!names[@]}"; do
    echo "NodeName=${names[$i]} NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT+2+i))" \
        "CPUs=$CPUS RealMemory=$MEM $GRES_NODE State=UNKNOWN"
done)
PartitionName=cpu    Nodes=ALL Default=YES MaxTime=7-00:00:00 DefaultTime=10 DefMemPerCPU=500 PriorityTier=1
PartitionName=dft    Nodes=ALL Default=NO  MaxTime=7-00:00:00 DefaultTime=10 DefMemPerCPU=500 PriorityTier=1
PartitionName=gpu    Nodes=ALL Default=NO  MaxTime=7-00:00:00 DefaultTime=10 DefMemPerCPU=500 PriorityTier=1
# jobs here preempt (requeue) jobs of the partitions above
PartitionName=urgent Nodes=ALL Default=NO  MaxTime=7-00:00:00 DefaultTime=10 DefMemPerCPU=500 PriorityTier=10 PreemptMode=OFF
EOC
export SLURM_CONF=$R/etc/slurm.conf
printf 'export SLURM_CONF=%q\n' "$SLURM_CONF" >"$R/env.sh"

# ---------------------------------------------------------------- 4. daemons
if [ "$ACCT" = dbd ]; then
    waitfor 60 slurmdbd sacctmgr -n list cluster
    [ -n "$(sacctmgr -nP list cluster sandbox)" ]  || sacctmgr -iQ add cluster sandbox
    [ -n "$(sacctmgr -nP list account sandbox)" ]  || sacctmgr -iQ add account sandbox Cluster=sandbox Description=ci Organization=ci
    [ -n "$(sacctmgr -nP list user root Account=sandbox WithAssoc Format=Account | grep -x sandbox)" ] \
        || sacctmgr -iQ add user root Account=sandbox
fi
launch slurmctld slurmctld -D -f "$SLURM_CONF"
waitfor 30 slurmctld scontrol ping
# Inside a job the Snakemake jobstep plugin (0.6.1) removes every SLURM_* variable but
# a short list, SLURM_CONF included, before it calls srun; srun then looks only at
# /etc/slurm/slurm.conf. Two ways to give it one:
#   ns   slurmd (and so every job) runs in a private mount namespace where our config
#        directory is bind-mounted over /etc/slurm; the host's /etc is not touched.
#        Needs CAP_SYS_ADMIN (a VM or a privileged container).
#   etc  /etc/slurm/{slurm,gres,cgroup}.conf become symlinks to ours (plain container).
conf_dir=/etc/slurm
case $CONF_MODE in
    auto) if unshare --mount --propagation slave mount --bind "$R/etc" "$conf_dir" 2>/dev/null
          then CONF_MODE=ns; else CONF_MODE=etc; fi;;
esac
case $CONF_MODE in
    ns)  start=(unshare --mount --propagation slave bash -c
            'mount --bind "$0" "$1" && exec slurmd -D -f "$1/slurm.conf" -N "$2"' "$R/etc" "$conf_dir");;
    etc) for f in slurm.conf gres.conf cgroup.conf; do
            if [ -e "$conf_dir/$f" ] && [ "$(readlink -f "$conf_dir/$f")" != "$(readlink -f "$R/etc/$f")" ]; then
                die "$conf_dir/$f exists and is not ours; not overwriting it"
            fi
            ln -sfn "$R/etc/$f" "$conf_dir/$f"
         done
         start=(slurmd -D -f "$SLURM_CONF" -N);;
    *)   die "SLURM_CONF_MODE must be auto, ns or etc";;
esac
for name in "${names[@]}"; do launch "slurmd-$name" "${start[@]}" "$name"; done
log "job-side slurm.conf: mode $CONF_MODE"
for name in "${names[@]}"; do
    # a node left down or drained by an earlier run is brought back
    if sinfo -h -n "$name" -o %T 2>/dev/null | grep -Eq 'down|drain|inval'; then
        scontrol update NodeName="$name" State=RESUME || true
    fi
    waitfor 30 "slurmd ($name)" bash -c "sinfo -h -n '$name' -o %T | sort -u | grep -Eqx 'idle|mixed|allocated'"
done
log "cluster is ready: $NODES nodes of $CPUS CPUs, $MEM MB, $GPUS fake GPUs, accounting=$ACCT"
sinfo -o '%P %a %l %D %t %c %m %G'
echo "now:  source $R/env.sh"
