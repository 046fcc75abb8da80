#!/bin/sh
# Back up the database and the files each night, and delete what is older than BACKUP_DAYS.
#
#   backup.sh now             makes one backup, and ends
#   backup.sh restore NAME    replaces all data of the database, and adds the files
set -eu
umask 077
cd "${BACKUP_FOLDER:-/backups}"
files=${FILES_FOLDER:-/srv/data}

back_up() {
  name=$(date -u +%Y-%m-%dT%H%M%SZ)
  rm -f ./*.partial
  # The files come second: none that the database refers to is missing, but for those deleted since.
  pg_dump --format=custom --no-owner --no-privileges --no-comments --file="$name.dump.partial" &&
    tar -C "$files" -czf "$name.files.tar.gz.partial" . &&
    mv "$name.files.tar.gz.partial" "$name.files.tar.gz" &&
    mv "$name.dump.partial" "$name.dump" &&
    find . -type f -mtime "+$BACKUP_DAYS" -exec rm {} + &&  # only if there is a new one
    echo "Backed up as $name"
}

restore() {
  # The archive is read before the database is changed, which is one transaction.
  trap 'rm -f restore.sql' EXIT
  pg_restore --no-owner --no-privileges --file=restore.sql "$1.dump"
  tar -C "$files" -xzf "$1.files.tar.gz"
  # Without the tables of later migrations, which the next upgrade makes again.
  psql --quiet --no-psqlrc --single-transaction --set=ON_ERROR_STOP=1 --output=/dev/null \
    --command="SET client_min_messages = warning; SET lock_timeout = '10s'" \
    --command="DROP SCHEMA public CASCADE; CREATE SCHEMA public" --file=restore.sql
  echo "Restored $1"
}

case "${1:-}" in
  now) back_up; exit ;;
  restore) restore "${2%.dump}"; exit ;;
esac
while true; do
  now=$(date +%s)
  next=$((now - now % 86400 + BACKUP_HOUR * 3600))
  [ "$next" -gt "$now" ] || next=$((next + 86400))
  sleep $((next - now))
  back_up || echo "The backup failed" >&2
done
