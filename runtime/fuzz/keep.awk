# Of a libFuzzer merge's control file: the inputs that bring most, up to `most` of them and `budget`
# bytes. (A line FT has the edges of one input that those before it have not.)
NR == 1 { files = $1; next }
NR == 2 { next }
NR <= files + 2 { name[NR - 3] = $0; next }
$1 == "STARTED" { size[$2] = $3 }
$1 == "FT" && NF > 2 { brings[$2] = NF - 2 }
END {
  while (taken < most) {
    best = ""
    for (i in brings) if (best == "" || brings[i] / (size[i] + 200) > brings[best] / (size[best] + 200)) best = i
    if (best == "") break
    base = name[best]
    sub(/.*\//, "", base)
    # The same input may lie in two directories.
    if (total + size[best] <= budget && !(base in had)) { total += size[best]; taken++; had[base]; print name[best] }
    delete brings[best]
  }
}
