#!/bin/sh
# boot.sh HOST-DIRECTORY HOSTNAME: the first process of a host of the lab, in namespaces of its own. Gives the host its
# file systems, says "ready", then adopts and reaps whatever loses its parent. When it ends, the kernel ends all the rest.
set -eu
directory=$1
echo "$2" >/proc/sys/kernel/hostname

# A pin that is copied into this mount table would keep somebody else's namespace alive. One may go meanwhile, with its lab.
pins=$(awk '/ - nsfs / { print $5 }' /proc/self/mountinfo)
for pin in $pins; do umount -l "$(printf %b "$(echo "$pin" | sed 's/\\/\\0/g')")" 2>/dev/null || true; done

# From here on $directory may be hidden, when it is under /run: the working directory still leads to it.
cd "$directory"
mount -t proc proc /proc
mount -t tmpfs -o mode=755,nosuid,nodev run /run
if [ ! -d "$directory" ]; then
  mkdir -p "$directory"
  mount --no-canonicalize --bind . "$directory"
fi

# /sys shows the devices of the namespace in which it was mounted; what is mounted below it is shared by all hosts.
mkdir /run/sys
mount -t sysfs sysfs /run/sys
for below in fs/cgroup fs/bpf kernel/security kernel/debug kernel/tracing; do
  if mountpoint -q "/sys/$below"; then mount --rbind "/sys/$below" "/run/sys/$below"; fi
done
mount --move /run/sys /sys
rmdir /run/sys

# An /etc of its own on top of the machine's; a file may be a link to one that this host cannot see.
mkdir -p /run/lab/etc /run/lab/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/lab/etc,workdir=/run/lab/work etc /etc
for file in "$directory"/etc/*; do
  rm -f "/etc/${file##*/}"
  cp "$file" /etc/
done

echo ready
cd /
exec </dev/null >/dev/null 2>&1
while :; do
  sleep 1000000 &
  wait $! || true
done
