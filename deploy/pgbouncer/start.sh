# The password is for clients, and for PostgreSQL as well. A quotation mark in it is doubled.
umask 077
printf '"app" "%s"\n' "$(printf %s "$POSTGRES_PASSWORD" | sed 's/"/""/g')" > /tmp/users.txt
exec /usr/sbin/pgbouncer /pgbouncer.ini
