#!/usr/bin/env bash
# import-linter 2.17, seen on 2026-11-27.
#
# Guess:      the contract types treat an external module that nobody imports alike: a rule about it is kept, because there
#             is nothing to break it. So a "protected" contract can list what must not be imported before anybody does.
# Behaviour:  a "forbidden" contract with such a module is kept. A "protected" contract with the same module is an error,
#             and lint-imports ends with a status that is not 0. A list of protected modules can therefore not be written down
#             in advance; a list of forbidden ones can.
# Output:     forbidden: 0
#             protected: 1
#
# Fails when that changes.
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" install -q 'import-linter==2.17'
mkdir "$directory/mine"
echo 'import json' > "$directory/mine/__init__.py"
cd "$directory"
settings='[importlinter]
root_package = mine
include_external_packages = True
[importlinter:contract:one]
name = One'
printf '%s\n' "$settings" 'type = forbidden' 'source_modules = mine' 'forbidden_modules = sqlite3' > forbidden.ini
printf '%s\n' "$settings" 'type = protected' 'protected_modules = sqlite3' 'allowed_importers = mine' > protected.ini
seen=""
for kind in forbidden protected; do
    status=0
    PYTHONPATH=. venv/bin/lint-imports --config "$kind.ini" > "$kind.log" 2>&1 || status=$?
    seen="$seen$kind: $status
"
done
printf '%s' "$seen"
[ "$seen" = "forbidden: 0
protected: 1
" ]
