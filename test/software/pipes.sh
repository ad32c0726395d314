# Pipelines, redirections, here-documents, command substitution, background jobs: what shells ask of a kernel.
# Output is the same wherever it runs.
seq 1 200 | tr -d 5 | sort -rn | head -n 3
echo "characters: $(printf 'one two three' | wc -c)"
cat <<EOF | sed 's/^/> /'
a here-document
through a pipe
EOF
dir=$(mktemp -d) && cd "$dir" || exit 1
for i in 1 2 3; do echo "line $i" >>file; done
wc -l <file | tr -d ' '
sort -r file | uniq | paste -s -d , -
mkfifo fifo
cat fifo >copy &
yes pollux | head -n 1000 >fifo
wait
wc -c <copy | tr -d ' '
(sleep 0.1; echo late) | cat
{ echo to-stdout; echo to-stderr >&2; } 2>/dev/null
false || echo "status $?"
sh -c 'kill -TERM $$'
echo "signalled: $?"
(trap 'echo trapped; exit 7' USR1; kill -USR1 "$(exec sh -c 'echo $PPID')"; sleep 5)
echo "subshell: $?"
yes | head -n 100000 | wc -l | tr -d ' '
x=0; while read -r n; do x=$((x + n)); done <<EOF
1
2
39
EOF
echo "sum $x"
set -- *; echo "files: $*"
cd / && rm -r "$dir" && ls -d "$dir" 2>/dev/null || echo gone
exit 42
