#!/usr/bin/env bash
# The steps of action.yml: `action.sh install`, then `action.sh run`, which ends with the exit code of the command.
# What a caller gives comes in environment variables and is handed on as words; the shell neither expands nor runs it.
set -euo pipefail

# Fill the array `words` with the words of a text, quoted as in a shell.
split_words() {
  words=()
  [[ "$1" =~ [^[:space:]] ]] || return 0
  local list
  list="$(mktemp)"
  xargs -n 1 printf '%s\0' <<<"$1" >"$list" || refuse "cannot be split into words: $1"
  mapfile -d '' -t words <"$list"
  rm "$list"
}

refuse() {
  echo "error: $1" >&2
  exit 2
}

install() {
  split_words "$INVAUDIT_PACKAGES"
  if [ -n "$INVAUDIT_TORCH_INDEX" ]; then
    python -m pip install --index-url "$INVAUDIT_TORCH_INDEX" torch torchvision
  fi
  python -m pip install "$(dirname "${BASH_SOURCE[0]}")/.." "${words[@]}"
}

run() {
  local command fail_on said code
  split_words "$INVAUDIT_ARGUMENTS"
  case "$INVAUDIT_COMMAND" in
    audit)
      fail_on="${INVAUDIT_FAIL_ON:-inconclusive}"
      command=(invaudit audit "${words[@]}" --out "$INVAUDIT_OUT")
      ;;
    guard-check)
      fail_on="${INVAUDIT_FAIL_ON:-too-many}"
      command=(invaudit ood check "${words[@]}")
      ;;
    *) refuse "command is '$INVAUDIT_COMMAND', expected audit or guard-check" ;;
  esac
  [ "$fail_on" = none ] || command+=(--fail-on "$fail_on")

  said="$(mktemp)"
  set +e
  "${command[@]}" | tee "$said"
  code="${PIPESTATUS[0]}"
  set -e

  mkdir -p "$INVAUDIT_OUT"
  summary "$code" "$fail_on" "$said" >"$INVAUDIT_OUT/summary.md"
  rm "$said"
  cat "$INVAUDIT_OUT/summary.md" >>"${GITHUB_STEP_SUMMARY:-/dev/null}"
  printf '%s\n' "exit-code=$code" "folder=$INVAUDIT_OUT" >>"${GITHUB_OUTPUT:-/dev/null}"
  return "$code"
}

# Say in Markdown how the command ended, and then in its own words what it found.
summary() {
  local code="$1" fail_on="$2" said="$3"
  printf '## invaudit %s\n\n' "$INVAUDIT_COMMAND"
  case "$code:$fail_on" in
    0:none) echo "The command ended. This job fails on no finding; what was found stands below." ;;
    0:*) echo "Nothing was found that fails this job (\`fail-on: $fail_on\`). What can be concluded stands below." ;;
    1:*) echo "**No result**: a fault, or a control that failed. The log of this step says which." ;;
    2:*) echo "**No result**: the command refused what it was given. The log of this step says what, and what to do." ;;
    3:inconclusive) echo "**This job fails**: a leak, or a question that could not be answered (\`fail-on: $fail_on\`)." ;;
    3:*) echo "**A finding** that fails this job (\`fail-on: $fail_on\`)." ;;
    130:*) echo "**No result**: interrupted. The log of this step says how to go on." ;;
    *) echo "**No result**: the command ended with exit code $code." ;;
  esac
  # Indented, text is shown as it is, whatever stands in it.
  if [ -s "$said" ]; then
    echo
    sed 's/^/    /' "$said"
  fi
}

case "${1:-}" in
  install) install ;;
  run) run ;;
  *) refuse "got '${1:-}', expected install or run" ;;
esac
