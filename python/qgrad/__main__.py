"""python -m qgrad ..: the command; python -m qgrad --prefix: where its files are."""
import sys

from . import main, prefix

if sys.argv[1:] == ["--prefix"]:
    print(prefix)
else:
    main()
