# Comments of headers as Doxygen takes them: before a declaration, behind one, and of the file in its first line.
/^ *\/\/ ---/d
# A class of another namespace, which Doxygen does not find.
/^struct fmt::formatter/,/^};/d
s/ *\/\/ namespace .*//
/\/\/ /{
  h
  s/^\(.*\)\/\/ .*$/\1/
  x
  s/^.*\/\/ //
  # Signs that Doxygen would read as its own.
  s/[\\@<>#&]/\\&/g
  s/>::/>\\::/g
  s/^\./\\./
  s/^/ /
  x
  /^ *$/s/$/\/\/\//
  /[^ /] *$/s/$/\/\/\/</
  G
  s/\n//
}
1s/^\/\/\/ /\/\/\/ \\file\n&/
