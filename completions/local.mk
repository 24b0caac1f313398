# SPDX-License-Identifier: LGPL-2.1-or-later
#
# fish and zsh look below our own prefix; bash where configure says.

bashcompletion_DATA = %D%/faultline
fishcompletiondir = $(datadir)/fish/vendor_completions.d
fishcompletion_DATA = %D%/faultline.fish
zshcompletiondir = $(datadir)/zsh/site-functions
zshcompletion_DATA = %D%/_faultline

EXTRA_DIST += \
	$(bashcompletion_DATA) \
	$(fishcompletion_DATA) \
	$(zshcompletion_DATA) \
	$(NULL)
