#!/bin/busybox sh
# First program of a guest: shows it the machine's root read-only under a writable layer in memory, sets up eth0, and hands
# over to the agent. The files beside it in the initial file system are put there by guest-files.ts.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /lower /up /new
$b --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# The end of the first program is the kernel's panic, and that the emulator's end.
fail() {
  echo "init: $*"
  exit 1
}
. /lane/settings
for module in /lane/modules/*.ko; do insmod "$module" || echo "init: $module was not loaded"; done

mount -t virtiofs -o ro root /lower || fail "no root"
mount -t tmpfs -o mode=755,size=75% up /up
mkdir /up/upper /up/work
mount -t overlay -o lowerdir=/lower,upperdir=/up/upper,workdir=/up/work root /new || fail "no overlay"
for d in proc sys dev; do
  mkdir -p "/new/$d"
  mount --move "/$d" "/new/$d"
done

# Memory for what must be empty, and for what cannot be on an overlay because overlays are made of it.
for d in $memory; do
  mkdir -p "/new$d"
  mount -t tmpfs -o mode=755 memory "/new$d"
done
chmod 1777 /new/tmp /new/var/tmp
mkdir -p /new/run/lock /new/lib/modules "/new$clone"
mount --bind "/lower$clone" "/new$clone" || fail "no clone at $clone"
mount --bind "/lower$modules" /new/lib/modules || fail "no modules"

mkdir -p /new/dev/pts /new/dev/shm /new/dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 pts /new/dev/pts
mount -t tmpfs -o mode=1777 shm /new/dev/shm
mount -t mqueue mq /new/dev/mqueue
ln -s /proc/self/fd /new/dev/fd
ln -s fd/0 /new/dev/stdin
ln -s fd/1 /new/dev/stdout
ln -s fd/2 /new/dev/stderr
mount -t cgroup2 cgroup /new/sys/fs/cgroup
for c in $(cat /new/sys/fs/cgroup/cgroup.controllers); do echo "+$c" >/new/sys/fs/cgroup/cgroup.subtree_control; done

hostname "$name"
rm -f /new/etc/hostname /new/etc/hosts /new/etc/resolv.conf
echo "$name" >/new/etc/hostname
cp /lane/hosts /new/etc/hosts
: >/new/etc/resolv.conf
ip link set lo up
echo 0 >/new/proc/sys/net/ipv6/conf/eth0/accept_dad
ip addr add "10.77.0.$number/24" broadcast + dev eth0
ip -6 addr add "fd77::$number/64" dev eth0
ip link set eth0 up

cp /lane/agent.mjs /new/run/lane-agent.mjs
for port in /new/sys/class/virtio-ports/*; do device=/dev/${port##*/}; done
export HOME=/root TERM=dumb LANG=C.UTF-8 PATH="$path"
exec /bin/switch_root /new /usr/bin/tini-static -- "$node" /run/lane-agent.mjs "$device"
