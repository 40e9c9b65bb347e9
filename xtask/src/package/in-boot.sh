#!/bin/sh
# The units under systemd itself, in a system that was booted for it: $1 and $2 are two versions of seaway. What is said goes to
# /packages/boot.log; its last line is "all of it" when all went well. Ends by switching the system off.
exec >/packages/boot.log 2>&1
trap 'systemctl poweroff' EXIT
set -eux

# Until a command succeeds, for twenty seconds.
wait_for() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 100 ]
        sleep 0.2
    done
}

# Installed: started, enabled, confined.
dpkg --install "$1"
systemctl is-enabled seaway
wait_for seaway server info
seaway pub orders "a cup of tea"
systemctl reload seaway
wait_for sh -c 'journalctl --unit seaway | grep -q "Reloaded server configuration"'

# Upgraded: started again. Killed: started again.
pid=$(systemctl show --property MainPID --value seaway)
dpkg --install "$2"
[ "$(systemctl show --property MainPID --value seaway)" != "$pid" ]
wait_for seaway peek orders
systemctl kill --signal KILL seaway
wait_for seaway peek orders
seaway peek orders | grep "a cup of tea"

# A member does not start where nothing is mounted, and serves where something is.
if systemctl start seaway-member; then exit 1; fi
[ -z "$(ls -A /srv)" ]
mkdir /srv/seaway
mount -t tmpfs -o uid=seaway,mode=0700 tmpfs /srv/seaway
systemctl start seaway-member
if systemctl is-active seaway; then exit 1; fi
wait_for sh -c 'seaway server info | grep "group seaway"'
wait_for seaway pub orders "of a group"
systemctl stop seaway-member
[ "$(systemctl show --property Result --value seaway-member)" = success ]

# Removed: ended in order.
systemctl start seaway
wait_for seaway peek orders
dpkg --remove seaway
if systemctl is-active seaway; then exit 1; fi
echo "all of it"
