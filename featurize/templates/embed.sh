#!/bin/sh
# Prints ../describe_templates.inc: the shipped template files as C strings, so that the binary needs no data files.
#   featurize/templates/embed.sh > featurize/describe_templates.inc        (test_describe compares them with the files)
cd "$(dirname "$0")" || exit 1
echo "/* Made by featurize/templates/embed.sh from the .ini files beside it; do not edit. */"
for f in *.ini; do
    echo "static const char describe_text_${f%.ini}[] ="
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/    "&\\n"/' "$f"
    echo "    ;"
done
