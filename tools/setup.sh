#!/bin/sh
# Installs what is missing for one purpose: npm, run, demo, test, vm or bench. Quick and silent when everything is there.
# Things are looked for as files, so a containerd or docker that came from elsewhere is used as it is.
set -eu
cd "$(dirname "$0")/.."
purpose=${1:-run}
export PATH="$PATH:/usr/sbin:/sbin"
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

wanted=""
# need PACKAGE FILE...: PACKAGE is wanted when none of the files exists.
need() {
  package=$1
  shift
  for file in "$@"; do
    # shellcheck disable=SC2086 # the pattern is meant to be expanded
    for found in $file; do [ -e "$found" ] && return 0; done
  done
  wanted="$wanted $package"
}
have() { command -v "$1" >/dev/null 2>&1; }

for_run() {
  have containerd || need containerd /usr/bin/containerd
  have runc || need runc /usr/sbin/runc
  need libnftables1 "/usr/lib/*/libnftables.so.1" "/lib/*/libnftables.so.1"
  need golang-github-containers-common /usr/share/containers/seccomp.json
  need busybox-static /bin/busybox
  need tini /usr/bin/tini-static
  have etcd || need etcd-server /usr/bin/etcd
  have wireguard-go || need wireguard-go /usr/bin/wireguard-go
  have ip || need iproute2 /sbin/ip
  have brctl || need bridge-utils /usr/sbin/brctl
}
for_demo() {
  have curl || need curl /usr/bin/curl
  have tcpdump || need tcpdump /usr/bin/tcpdump /usr/sbin/tcpdump
  have nsenter || need util-linux /usr/bin/nsenter
}
for_test() {
  have nft || need nftables /usr/sbin/nft
  have docker-registry || need docker-registry /usr/bin/docker-registry
  have cfssl || need golang-cfssl /usr/bin/cfssl
  have script || need bsdutils /usr/bin/script
  have fping || need fping /usr/bin/fping
  have dnsmasq || need dnsmasq-base /usr/sbin/dnsmasq
  need openssl /usr/bin/openssl
}
# Hosts of their own kernel (test/vm): QEMU emulates x86-64, on x86-64 only, where the guests can use this machine's programs.
for_vm() {
  if [ "$(dpkg --print-architecture)" != amd64 ]; then
    echo "setup: the tests in virtual machines (tier vm) need x86-64: they will fail on this processor" >&2
    return 0
  fi
  need qemu-system-x86 /usr/bin/qemu-system-x86_64
  need qemu-system-common /usr/lib/qemu/virtiofsd
  need kmod /usr/sbin/modprobe /sbin/modprobe
  need lz4 /usr/bin/lz4
  need iputils-ping /usr/bin/ping /bin/ping
}
for_bench() {
  have iptables || need iptables /usr/sbin/iptables
  have ping || need iputils-ping /usr/bin/ping /bin/ping
}

# Packages may start nothing: policy-rc.d says so for the time of the installation.
install_packages() {
  echo "setup: installing$wanted"
  policy=/usr/sbin/policy-rc.d
  ours=no
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | root tee "$policy" >/dev/null
    root chmod 755 "$policy"
    ours=yes
  fi
  status=0
  root apt-get -qq update || true
  # shellcheck disable=SC2086
  root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $wanted >/dev/null || status=$?
  [ "$ours" = no ] || root rm -f "$policy"
  if [ "$status" != 0 ]; then
    echo "setup: apt-get could not install:$wanted" >&2
    exit "$status"
  fi
}

# Debian's client (and dockerd, for the benchmark) without its service: the package is unpacked, not installed.
unpack_docker() {
  into=build/debian-docker
  [ ! -x "$into/usr/bin/docker" ] || return 0
  echo "setup: unpacking Debian's docker.io into $into"
  rm -rf "$into"
  mkdir -p "$into/deb"
  (cd "$into/deb" && { apt-get -qq download docker.io 2>/dev/null || { root apt-get -qq update && apt-get -qq download docker.io; }; })
  dpkg-deb -x "$into"/deb/docker.io_*.deb "$into"
  rm -rf "$into/deb"
}

# The kernel of the virtual machines, with its modules. Debian's meta-package names the one of today.
unpack_kernel() {
  into=build/vm-kernel
  if [ -e "$into/vmlinux" ] || [ "$(dpkg --print-architecture)" != amd64 ]; then return 0; fi
  echo "setup: unpacking Debian's kernel into $into"
  kernel_package() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p'; }
  package=$(kernel_package)
  [ -n "$package" ] || { root apt-get -qq update; package=$(kernel_package); }
  rm -rf "$into"
  mkdir -p "$into/deb"
  (cd "$into/deb" && { apt-get -qq download "$package" 2>/dev/null || { root apt-get -qq update && apt-get -qq download "$package"; }; })
  dpkg-deb -x "$into"/deb/linux-image-*.deb "$into"
  rm -rf "$into/deb"
  for modules in "$into"/lib/modules/*; do depmod -b "$into" "${modules##*/}"; done
  node_modules/.bin/node tools/vm-kernel.ts "$into"/boot/vmlinuz-* "$into/vmlinux"
}

install_npm() {
  stamp=node_modules/.installed-lock.json
  if [ -x node_modules/.bin/node ] && cmp -s package-lock.json "$stamp"; then return 0; fi
  echo "setup: npm ci"
  npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json "$stamp"
  [ -x node_modules/.bin/node ] || { echo "setup: no Node for this processor among the npm packages" >&2; exit 1; }
}

case $purpose in
  npm) ;;
  run) for_run ;;
  demo) for_run; for_demo ;;
  test) for_run; for_demo; for_test; for_vm ;;
  vm) for_run; for_demo; for_vm ;;
  bench) for_run; for_bench ;;
  *) echo "usage: tools/setup.sh npm|run|demo|test|vm|bench" >&2; exit 2 ;;
esac
[ -z "$wanted" ] || install_packages
case $purpose in
  run | demo | vm) have docker || unpack_docker ;;
  # The tests also drive Debian's own client, which is two years of API older than today's.
  test) [ -x /usr/bin/docker ] || unpack_docker ;;
  bench) { [ -x /usr/sbin/dockerd ] && have docker; } || unpack_docker ;;
esac
install_npm
case $purpose in test | vm) unpack_kernel ;; esac
