#!/bin/sh
# What a laboratory guest does once the host's files are there: it sets up its address and its soft-RoCE device, then
# runs the commands that the host asks for over a virtio port, each in a session of its own, and reports how they end.
# It ends with the host's side of the port, after LAB_LIFETIME_SECONDS, or when the watchdog is not fed any more.
#
# The host sends "run ID", "signal ID NAME" and "off"; the guest "ready", "failed REASON" and "exit ID CODE".
# The command stands in /run/lab/ID/command, and its output goes to the files stdout and stderr beside it.

. /run/lab/settings
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

for port in /sys/class/virtio-ports/*; do
  [ "$(cat "$port/name" 2>/dev/null)" = lab ] && control=/dev/${port##*/}
done
exec 3<>"$control"

fail() {
  echo "failed $1" >&3
  busybox poweroff -f
}

set_up() {
  hostname "$LAB_HOSTNAME"
  # modprobe finds what the boot image did not need, traffic shapers for instance.
  mkdir -p /lib/modules && ln -sfn "$LAB_MODULES" "/lib/modules/$(uname -r)"
  ip link set lo up
  ip address add "$LAB_SELF/24" dev eth0 &&
    ip -6 address add "$LAB_SELF6/64" dev eth0 nodad &&
    ip link set eth0 up &&
    rdma link add rxe0 type rxe netdev eth0 || fail 'cannot set up eth0 and rxe0'
  # The link has a carrier once the other guest is there.
  until grep -q ACTIVE /sys/class/infiniband/rxe0/ports/1/state; do sleep 0.1; done
}

run_command() {
  setsid sh "/run/lab/$1/command" </dev/null >"/run/lab/$1/stdout" 2>"/run/lab/$1/stderr" 3>&- &
  pid=$!
  echo "$pid" >"/run/fifo-$1"
  wait "$pid"
  echo "exit $1 $?" >&3
}

serve() {
  set_up
  echo ready >&3
  while read -r verb id name <&3; do
    case $verb in
      run)
        mkfifo "/run/fifo-$id"
        run_command "$id" &
        # By the time a signal is asked for, it is known whom it is for.
        read -r pid <"/run/fifo-$id"
        rm "/run/fifo-$id"
        eval "pid_$id=$pid"
        ;;
      signal)
        eval "pid=\$pid_$id"
        kill -s "$name" -- "-$pid"
        ;;
      off) return ;;
    esac
  done
}

cd /
busybox watchdog -t 2 -T "$LAB_WATCHDOG_SECONDS" /dev/watchdog
serve &
serving=$!
{
  sleep "$LAB_LIFETIME_SECONDS"
  echo "laboratory: the guest's time is over"
  busybox poweroff -f
} 3>&- &
# This is process 1: while it waits it also collects every process whose parent has gone.
wait "$serving"
busybox poweroff -f
