# SPDX-License-Identifier: BSD-3-Clause
# Models of the protocol, searched by spin: `make model`, or one of them with
# `make model MODEL=reconfig`. BIG=1 takes larger bounds.

model_tests += %D%/test-model.sh

PHONY_TARGETS += model
model:
	BIG=$(BIG) bash $(top_srcdir)/%D%/run $(MODEL)
