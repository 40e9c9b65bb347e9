#!/bin/sh
# What an administrator does with the packages, in a Debian system that was made for it and has no network: $1 and $2 are two versions
# of seaway, $3 is the alternative. The server runs as its unit says, without systemd.
set -eu
export DEBIAN_FRONTEND=noninteractive

say() {
    echo "chroot: $*"
}

fail() {
    echo "chroot: FAILED: $*" >&2
    [ ! -e /tmp/server.log ] || cat /tmp/server.log >&2
    exit 1
}

start() {
    command=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/seaway.service)
    # shellcheck disable=SC2086 # words of a unit
    setpriv --reuid seaway --regid seaway --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
        $command 2>/tmp/server.log &
    server=$!
    tries=0
    until seaway server info >/dev/null 2>&1; do
        kill -0 $server 2>/dev/null || fail "the server has ended"
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "the server does not answer"
        sleep 0.1
    done
}

stop() {
    kill -TERM $server
    code=0
    wait $server || code=$?
    [ $code = 143 ] || fail "the server ended with $code"
}

is_kept() {
    start
    seaway peek orders | grep -q "a cup of tea" || fail "the message is gone"
    stop
}

say "install"
dpkg --install "$1"
[ "$(stat -c '%a %U:%G' /etc/seaway)" = "750 root:seaway" ] || fail "modes of /etc/seaway"
[ "$(stat -c '%a %U:%G' /etc/seaway/seaway.conf)" = "640 root:seaway" ] || fail "modes of seaway.conf"
[ "$(stat -c '%a %U:%G' /etc/default/seaway)" = "640 root:seaway" ] || fail "modes of /etc/default/seaway"
[ "$(stat -c '%a %U:%G' /var/lib/seaway)" = "700 seaway:seaway" ] || fail "modes of /var/lib/seaway"
[ -e /etc/systemd/system/multi-user.target.wants/seaway.service ] || fail "the unit is not enabled"
[ ! -e /etc/systemd/system/multi-user.target.wants/seaway-member.service ] || fail "the member is enabled"

say "start, as the unit says"
start
seaway pub orders "a cup of tea"
stop

say "upgrade: configuration, messages and the administrator's choices stay"
echo "# ours" >>/etc/seaway/seaway.conf
chmod 0600 /etc/seaway/member.conf
# As `systemctl disable` does it.
rm /etc/systemd/system/multi-user.target.wants/seaway.service
dpkg --install "$2"
seaway version
grep -q "^# ours" /etc/seaway/seaway.conf || fail "the configuration is replaced"
[ "$(stat -c %a /etc/seaway/member.conf)" = 600 ] || fail "the mode is set back"
[ ! -e /etc/systemd/system/multi-user.target.wants/seaway.service ] || fail "the unit is enabled again"
is_kept

say "the original's name"
dpkg --install "$3"
[ "$(readlink -f /usr/bin/nats-streaming-server)" = /usr/bin/seaway ] || fail "the alternative leads elsewhere"
nats-streaming-server --version

say "remove: the program goes, configuration and messages stay"
dpkg --remove seaway-nats-streaming-server seaway
[ ! -e /usr/bin/seaway ] || fail "the program is left"
[ ! -L /usr/bin/nats-streaming-server ] || fail "the alternative is left"
grep -q "^# ours" /etc/seaway/seaway.conf || fail "the configuration is gone"
dpkg --install "$2"
grep -q "^# ours" /etc/seaway/seaway.conf || fail "the configuration is replaced"
is_kept

say "purge: the configuration goes, messages stay"
dpkg --purge seaway
[ ! -e /etc/seaway ] && [ ! -e /etc/default/seaway ] || fail "configuration is left"
[ -n "$(ls /var/lib/seaway)" ] || fail "the messages are gone"
say "all of it"
