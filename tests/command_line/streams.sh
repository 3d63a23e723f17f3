# shellcheck shell=bash disable=SC2154,SC2034
# Events for TensorBoard, streams that can not be written, threads that the system does not give.

# --- for TensorBoard ---
expect 0 "train for TensorBoard" "$qgrad" train train.json --out board --set train.tensorboard=true --set train.log_steps=10
holds "the same checkpoint" cmp threads1/model.safetensors board/model.safetensors
holds "and its events" [ -s board/events.out.tfevents.qgrad ]
if python3 -c 'import tensorboard' 2>/dev/null; then
  expect 0 "TensorBoard reads the numbers of the log" python3 "$root/tests/read_events.py" board
else
  skip "TensorBoard reads the events: python3 has no module 'tensorboard'"
fi

# --- streams that can not be written, and threads that the system does not give ---
expect 0 "train with stderr on a full disk" bash -c '"$0" train train.json --out full_stderr 2>/dev/full' "$qgrad"
expect 0 "train with a closed stderr" bash -c '"$0" train train.json --out closed_stderr 2>&-' "$qgrad"
expect 0 "train with a stderr that nobody reads" bash -c '"$0" train train.json --out unread_stderr 2> >(true)' "$qgrad"
expect 0 "train with a log that may not grow" bash -c 'ulimit -f 1024; head -c 1048576 /dev/zero >log; "$0" train train.json --out long_log 2>>log' "$qgrad"
for stream in full_stderr closed_stderr unread_stderr long_log; do
  holds "$stream: the same checkpoint" cmp threads1/model.safetensors $stream/model.safetensors
done
expect 1 "train with a full stdout" bash -c '"$0" train train.json --out full_stdout --json >/dev/full' "$qgrad"
holds "says so" grep -q '^qgrad: .*write' stderr
holds "and keeps the model" cmp threads1/model.safetensors full_stdout/model.safetensors
expect 1 "train with a closed stdout" bash -c '"$0" train train.json --out closed_stdout >&-' "$qgrad"
holds "keeps the model too" cmp threads1/model.safetensors closed_stdout/model.safetensors
expect 1 "help with a full stdout" bash -c '"$0" --help >/dev/full' "$qgrad"
expect 1 "an error with a closed stderr" bash -c '"$0" train nowhere.json 2>&-' "$qgrad"
expect 0 "train where there are few threads" bash -c 'ulimit -s 1000000; ulimit -v 5000000; "$0" train train.json --out few_threads --threads 64' "$qgrad"
holds "says how many there are" grep -qE '^threads: [1-5] of 64, the system gives no more$' stderr
holds "and gives the same checkpoint" cmp threads1/model.safetensors few_threads/model.safetensors

# train_and_kill CONFIG FOLDER: kills a training as soon as it has a state to go on from.
train_and_kill() {
  "$qgrad" train "$1" --out "$2" >/dev/null 2>&1 &
  local victim=$!
  until [ -f "$2/training.safetensors" ]; do sleep 0.02; done
  kill -9 $victim
  wait $victim 2>/dev/null
}
