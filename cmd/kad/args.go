package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// takes checks that a command gets from least to most arguments. names lists them
// as the command's help does, to be said when they are missing.
func takes(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("give %s: %s", names, cmd.UseLine())
		case len(args) > most && most == 0:
			return usagef("%s takes no argument, and %s was given", cmd.Name(), quoted(args[0]))
		case len(args) > most:
			return usagef("%s takes %s, and %s is one too many: quote what contains blanks", cmd.Name(), names, quoted(args[most]))
		}
		return nil
	}
}

// takesNone is for commands that have only flags.
var takesNone = takes(0, 0, "")

// quoted is an argument as it goes into an error text.
func quoted(arg string) string { return strconv.Quote(shorten(arg, 60)) }

// flagError puts into plain words what the flag parser found wrong.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			return usagef("there is no flag -%s", name)
		}
		return usagef("there is no flag --%s", name)
	case errors.As(err, &missing):
		return usagef("--%s needs a value: %s", missing.GetFlag().Name, placeholder(missing.GetFlag()))
	case errors.As(err, &invalid):
		return usagef("--%s is %s, want %s", invalid.GetFlag().Name, quoted(invalid.GetValue()), wanted(invalid.GetFlag()))
	}
	return &usageError{err}
}

// placeholder is the name that the help gives to a flag's value.
func placeholder(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	return name
}

// wanted says what values a flag takes.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "duration":
		return "a time such as 90s, 15m or 2h"
	case "int", "int64", "count":
		return "a whole number"
	case "uint", "uint64":
		return "a whole number of at least 0"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	}
	return f.Value.Type()
}

// checkFlags refuses flags that were given, but with nothing in them: an unset
// variable in a script must not mean the default.
func checkFlags(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		} else if f.Value.Type() != "string" {
			return
		}
		for _, v := range values {
			if strings.TrimSpace(v) == "" && err == nil {
				err = usagef("--%s is empty: give %s, or leave the flag out", f.Name, placeholder(f))
			}
		}
	})
	return err
}

// checkTime checks a time that a flag gives, where the flag was given.
func checkTime(cmd *cobra.Command, flag string, value, least, most time.Duration) error {
	if cmd.Flags().Changed(flag) && (value < least || value > most) {
		return usagef("--%s is %v, want %v to %v", flag, value, least, most)
	}
	return nil
}

// openInput opens a file that the user named. Anything wrong with it, be it
// missing, a directory or not readable, is a mistake in the input.
func openInput(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("%w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, &usageError{fmt.Errorf("%s is a directory", quoted(name))}
	}
	return f, nil
}
