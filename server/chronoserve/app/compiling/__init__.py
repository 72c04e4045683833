"""``chronoserve compile``: chronon-ai's compile.py, run where it is installed and judged by what it wrote (spec/integration.md §3).

compile.py exits with 0 on most failures, leaves a conf empty where it cannot print it, and asks questions. Here it works on
a copy of the compiled confs with its questions answered, and only confs that can be read back are moved into their place.
"""
