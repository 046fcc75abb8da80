#!/bin/sh
# Back up the database and the files each night, and delete what is older than BACKUP_DAYS.
# `backup.sh now` makes one backup, and ends.
set -eu
umask 077

back_up() {
  name=/backups/$(date -u +%Y-%m-%dT%H%M%SZ)
  rm -f /backups/*.partial
  # The files come second: none that the database refers to is missing, but for those deleted since.
  pg_dump --format=custom --no-owner --no-privileges --no-comments --file="$name.dump.partial" app &&
    tar -C /srv/data -czf "$name.files.tar.gz.partial" . &&
    mv "$name.files.tar.gz.partial" "$name.files.tar.gz" &&
    mv "$name.dump.partial" "$name.dump" &&
    find /backups -type f -mtime "+$BACKUP_DAYS" -exec rm {} + &&  # only if there is a new one
    echo "Backed up as $name"
}

if [ "${1:-}" = now ]; then
  back_up
  exit
fi
while true; do
  now=$(date +%s)
  next=$((now - now % 86400 + BACKUP_HOUR * 3600))
  [ "$next" -gt "$now" ] || next=$((next + 86400))
  sleep $((next - now))
  back_up || echo "The backup failed" >&2
done
