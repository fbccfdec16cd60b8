#!/bin/busybox sh
# The first program of a laboratory guest, from its boot image. It inserts the kernel modules, puts a writable layer
# over the host's files, and hands over to agent.sh of the checkout, which is then simply there. What goes wrong is
# written to the console, and the guest ends.

export PATH=/bin
/bin/busybox --install -s /bin

fail() {
  echo "laboratory: $1"
  poweroff -f
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm

while read -r module; do
  insmod "/modules/$module" || fail "cannot insert $module"
done </modules/order

nine=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$nine,cache=none" lab /lab || fail 'cannot mount the folder of this run'
. /lab/settings
mount -t 9p -o "ro,$nine,cache=loose" host /host || fail "cannot mount the host's files"
mount -t tmpfs tmpfs /overlay
mkdir /overlay/upper /overlay/work
mount -t overlay -o lowerdir=/host,upperdir=/overlay/upper,workdir=/overlay/work overlay /guest ||
  fail "cannot put a writable layer over the host's files"

for folder in proc sys dev; do mount --move "/$folder" "/guest/$folder"; done
mount -t tmpfs tmpfs /guest/run
mkdir /guest/run/lab
mount --move /lab /guest/run/lab
mkdir -p "/guest$LAB_RESULTS"
mount -t 9p -o "$nine,cache=none" results "/guest$LAB_RESULTS" || fail 'cannot mount the folder for results'

exec switch_root /guest /bin/sh "$LAB_ROOT/ci/lab/guest/agent.sh"
