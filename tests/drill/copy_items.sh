# Copies the example to a resource of its own: `sh tests/drill/copy_items.sh gadget` in the project's
# folder. Then: make format; make migration m="gadgets".
set -eu
name=$1
capital=$(printf %s "$name" | cut -c1 | tr a-z A-Z)$(printf %s "$name" | cut -c2-)
upper=$(printf %s "$name" | tr a-z A-Z)
for folder in app tests; do
  cp -r "$folder/features/items" "$folder/features/${name}s"
  find "$folder/features/${name}s" -depth -name '*item*' | while read -r path; do
    mv "$path" "$(dirname "$path")/$(basename "$path" | sed "s/item/$name/g")"
  done
  # Not dict.items().
  grep -rlI -i item "$folder/features/${name}s" | xargs perl -pi -e \
    "s/\.items\(\)/.\0()/g; s/item/$name/g; s/Item/$capital/g; s/ITEM/$upper/g; s/\.\0\(\)/.items()/g"
done
