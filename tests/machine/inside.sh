#!/bin/sh
# The stage that is due, at each start of the machine: `first`, then a reboot, then `again`, then the end.
exec > /dev/virtio-ports/report 2>&1
cd /opt/project || exit 1
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
systemctl is-active --quiet network.service || journalctl --no-pager -o cat -b -u network.service
test="/opt/tests/bin/python -m pytest -p no:cacheprovider -q -s -rs"
if [ ! -e /srv/first ]; then
    touch /srv/first
    echo "stage first: $(uname -r), up $(cut -d' ' -f1 /proc/uptime) s"
    $test tests/reconciliation/test_look.py && MACHINE_STAGE=first $test tests/machine/checks.py
    status=$?
    if [ $status = 0 ]; then
        echo "stage first: passed"
        sync
        systemctl reboot
        exit 0
    fi
else
    echo "stage again: up $(cut -d' ' -f1 /proc/uptime) s"
    MACHINE_STAGE=again $test tests/machine/checks.py
    status=$?
fi
[ $status = 0 ] || journalctl --no-pager -o cat -b -u 'mediation-*' | tail -n 200
echo "machine ended with $status"
sync
systemctl poweroff
