#!/bin/sh
# users.sh - an ACL file for Redis and a password file for each of freshet's roles, least rights each.
#
#   deploy/redis/users.sh MODEL FOLDER
#
# Makes FOLDER/users.acl (for `aclfile` in redis.conf; the default user is off in it) and FOLDER/learner.password,
# scorer.password, dashboard.password and operator.password (`user:password`, mode 600, for redis.password_file).  Password files that are there
# already are kept, so a second model's or a repaired ACL file needs no new ones.  The ACL file holds hashes only.  To
# administer the server add a user of your own: the roles can't.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
die() { echo "users.sh: $*" >&2; exit 1; }
[ $# = 2 ] || die "usage: users.sh MODEL FOLDER"
model=$1 folder=$2
case $model in
'' | *[!A-Za-z0-9_.-]*) die "model '$model': letters, digits, '_', '.' and '-' only" ;;
esac
command -v sha256sum >/dev/null || die "sha256sum is missing"
umask 077
mkdir -p "$folder"
{
    echo 'user default reset off'
    for role in learner scorer dashboard operator; do
        file=$folder/$role.password
        [ -s "$file" ] || printf '%s:%s\n' $role "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >"$file"
        hash=$(head -n 1 "$file" | cut -d : -f 2- | tr -d '\r\n' | sha256sum | cut -d ' ' -f 1)
        sed -e '/^#/d' -e '/^$/d' -e "s/@MODEL@/$model/g" -e "s/@HASH@/$hash/" "$here/$role.acl" | tr -d '\n'
        echo
    done
} >"$folder/users.acl.new"
mv "$folder/users.acl.new" "$folder/users.acl"
echo "users.sh: $folder/users.acl and the password files of learner, scorer, dashboard and operator" >&2
