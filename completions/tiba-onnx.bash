# Completion of tiba-onnx for bash. Commands and options are asked of the program itself.
_tiba_onnx() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} tool=${COMP_WORDS[0]}
  local commands command=explain
  commands=$("$tool" --help 2>/dev/null | sed -n 's/^  \([a-z]\{2,\}\)  *.*$/\1/p')
  COMPREPLY=()
  if [ "$COMP_CWORD" -gt 1 ] && printf '%s\n' "$commands" | grep -qx -- "${COMP_WORDS[1]}"; then
    command=${COMP_WORDS[1]}
  fi
  case $before in
    --colormap) COMPREPLY=($(compgen -W "viridis magma turbo jet gray diverging" -- "$word")) ;;
    --rollout) COMPREPLY=($(compgen -W "raw normalized" -- "$word")) ;;
    --color) COMPREPLY=($(compgen -W "auto always never" -- "$word")) ;;
    --layout) COMPREPLY=($(compgen -W "nchw nhwc" -- "$word")) ;;
    --resample) COMPREPLY=($(compgen -W "nearest box bilinear hamming bicubic lanczos" -- "$word")) ;;
    -m | --method)
      COMPREPLY=($(compgen -W "$("$tool" compare --help 2>/dev/null |
        sed -n '/^methods:/,$s/^  \([a-z-]*\)  .*/\1/p')" -- "$word"))
      ;;
    *)
      if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$("$tool" "$command" --help 2>/dev/null |
          grep -o -e '--[a-z][a-z-]*')" -- "$word"))
      elif [ "$command" = eval ] && [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "$("$tool" eval --help 2>/dev/null |
          sed -n '/^kinds:/,/^$/s/^  \([a-z-]*\)  .*/\1/p')" -- "$word"))
      else
        COMPREPLY=($(compgen -f -- "$word"))
        if [ "$COMP_CWORD" -eq 1 ]; then
          COMPREPLY+=($(compgen -W "$commands" -- "$word"))
        fi
      fi
      ;;
  esac
}
complete -o filenames -F _tiba_onnx tiba-onnx
