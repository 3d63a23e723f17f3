# shellcheck shell=bash disable=SC2154,SC2034
# What the command answers: help, options and words with typing errors.

expect 0 "help" "$qgrad" --help
expect 2 "no subcommand" "$qgrad"
expect 2 "unknown subcommand" "$qgrad" trian
holds "names the nearest one" grep -qF "unknown command 'trian' (did you mean 'train'?)" stderr
expect 2 "unknown case of a benchmark" "$qgrad" bench infrence
holds "names the nearest one, too" grep -qF "unknown command 'infrence' (did you mean 'inference'?)" stderr
expect 2 "unknown option" "$qgrad" train --colour x.json
expect 2 "an option with a typing error" "$qgrad" train --thread 2 x.json
holds "names the nearest option" grep -qF "unknown option '--thread' (did you mean '--threads'?)" stderr
holds "an error is red on a terminal, and without NO_COLOR" python3 - "$qgrad" <<'END'
import os, pty, sys
def seen(**more):
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.argv[1], [sys.argv[1], "evaluate", "nowhere.qgi"], {**os.environ, **more})
    text = b""
    try:
        while piece := os.read(terminal, 4096):
            text += piece
    except OSError:  # the other end is closed
        pass
    os.waitpid(child, 0)
    return text
os.environ.pop("NO_COLOR", None)
assert b"\033[31mqgrad:\033[0m nowhere.qgi" in seen()
assert b"[31m" not in seen(NO_COLOR="1") and b"qgrad: nowhere.qgi" in seen(NO_COLOR="1")
END
expect 0 "help of a command that takes no config" "$qgrad" predict --help
holds "is without the classes of configs" sh -c '! grep -q LSQQuantizer stdout'
expect 0 "help of training" "$qgrad" train --help
holds "has examples" grep -q '^  qgrad train --resume ' stdout
for command in $("$qgrad" completion fish | sed -n 's/.*use_subcommand -f -a \([a-z-]*\) .*/\1/p'); do
  expect 0 "help of $command, asked for" "$qgrad" help $command
  cp stdout asked_for
  expect 0 "help of $command" "$qgrad" $command --help
  holds "$command: the same help" diff asked_for stdout
  holds "$command: with examples" grep -q "^Examples:" stdout
  holds "$command: in the README" grep -qE "^qgrad .*\b$command\b" "$root/README.md"
done
"$qgrad" list quantizers >stdout
holds "quantizers are listed" test "$(grep -c '^[A-Za-z0-9]*Quantizer ' stdout)" -gt 9
for quantizer in $("$qgrad" list quantizers | sed -n 's/^\([A-Za-z0-9]*Quantizer\) .*/\1/p'); do
  holds "$quantizer: in the README, and in that of quantizers" sh -c "grep -q '\`$quantizer\`' '$root/README.md' && grep -q '$quantizer' '$root/docs/quantizers/README.md'"
done
expect 2 "help of a command with a typing error" "$qgrad" help trian
holds "names the nearest command" grep -qF "no command 'trian' (did you mean 'train'?)" stderr
for kind in quantizers models datasets optimizers schedules; do
  expect 0 "list $kind" "$qgrad" list $kind
  holds "each with a line about it" sh -c '! grep -qvE "^[A-Za-z0-9_]+  +[^ ]" stdout'
done
expect 0 "list for programs" "$qgrad" list datasets --json
holds "has both kinds of data" sh -c 'grep -q "\"class\": \"cifar10\"" stdout && grep -q "\"class\": \"movielens\"" stdout'
expect 2 "list of what is not there" "$qgrad" list dogs
expect 0 "version" "$qgrad" --version
holds "with commit, compiler, instruction set and threads" [ "$(grep -cE '^(qgrad [0-9.]+, commit [0-9a-z-]+|compiler: .+|instruction set: [a-z0-9_]+|threads: [0-9]+)$' stdout)" = 4 ]
expect_error "a wrong instruction set, before anything else" "QGRAD_ISA=sse: expected an instruction set" env QGRAD_ISA=sse "$qgrad" evaluate nowhere.safetensors
# completes WORDS...: what bash would offer in place of the last one.
completes() {
  bash -c 'source <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _qgrad; echo "${COMPREPLY[@]}"' "$qgrad" "$@"
}
holds "bash completes a command" [ "$(completes qgrad quan)" = quantize ]
holds "and an option" [ "$(completes qgrad train --res)" = --resume ]
holds "and the name of a file" [ "$(touch complete.json; completes qgrad train comp)" = complete.json ]
for shell in zsh fish; do
  if command -v $shell >/dev/null; then
    expect 0 "completion for $shell is a script" sh -c '"$0" completion $1 >completion && $1 -n completion' "$qgrad" $shell
  else
    skip "$shell is not here"
  fi
done
expect 0 "the manual" "$qgrad" man
holds "has every command" [ "$(grep -c '^.SS qgrad [a-z\\-]*$' stdout)" = "$("$qgrad" completion fish | grep -c use_subcommand)" ]
if command -v groff >/dev/null; then holds "without a warning" [ -z "$(groff -man -ww -z stdout 2>&1)" ]; else skip "groff is not here"; fi
# refused_option NAME ARGUMENTS...: wrong usage, said in a line with the option's name.
refused_option() {
  expect 2 "${*:2}" "$qgrad" "${@:2}"
  holds "${*:2}: the message names it" grep -qF -- "$1" stderr
}
for seed in -1 18446744073709551616 1e20 1.5 010 0x10 x; do refused_option --seed train "$root/configs/digits_compare.json" --seed $seed; done
for threads in 0 -1 257 1.5 010 4294967297; do refused_option --threads compare "$root/configs/digits_compare.json" --threads $threads; done
for option in --out --data --set --resume; do
  refused_option $option train $option ''
  refused_option $option train $option //
done
refused_option --config evaluate x.safetensors --config ''
refused_option --onnx export x.safetensors --onnx ''
refused_option --program export x.safetensors --program ''
refused_option CONFIG quantize ''
refused_option --min-time bench inference --min-time nan
